"""Writes quants.gguf: for each storage type a tensor of random blocks, and beside it the values
that the gguf package reads from them; and values with the Q8_0 blocks that it makes of them.  Needs: pip install gguf numpy.

Usage: make_quants.py tests/golden/data/quants.gguf
"""
import sys

import gguf
import numpy as np

ROWS, COLUMNS = 2, 512
TYPES = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q6_K",
         "Q2_K", "Q3_K", "Q5_K"]
# where a block keeps its fp16 factors: random bits there would mostly be absurd numbers
FACTORS = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q6_K": [208],
           "Q2_K": [80, 82], "Q3_K": [108], "Q5_K": [0, 2]}


def main() -> None:
    rng = np.random.default_rng(7)
    writer = gguf.GGUFWriter(sys.argv[1], "none")
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        elements, n_bytes = gguf.GGML_QUANT_SIZES[kind]
        if name in FACTORS:
            blocks = rng.integers(0, 256, (ROWS * COLUMNS // elements, n_bytes), dtype=np.uint8)
            for at in FACTORS[name]:
                factor = rng.normal(0, 0.1, (len(blocks), 1)).astype(np.float16)
                blocks[:, at : at + 2] = factor.view(np.uint8)
            data = blocks.reshape(ROWS, -1)
        else:
            values = rng.normal(0, 1, (ROWS, COLUMNS)).astype(np.float32)
            data = gguf.quants.quantize(values, kind)
        read = gguf.quants.dequantize(data, kind).reshape(ROWS, COLUMNS).astype(np.float32)
        if name == "F16":
            writer.add_tensor(name, data.view(np.float16).reshape(ROWS, COLUMNS))
        else:
            writer.add_tensor(name, data.view(np.uint8), raw_dtype=kind)
        writer.add_tensor(name + ".read", read)
    # what Q8_0 shall be made of, and what the package makes: halves to round, zeros, small and large blocks
    values = rng.normal(0, 1, (ROWS, COLUMNS)).astype(np.float32)
    values[0, :32] = 0
    values[0, 32:64] = np.arange(32, dtype=np.float32) - 15.5
    values[0, 63] = 127
    values[0, 64:96] *= np.float32(1e-6)
    values[0, 96:128] *= np.float32(1e5)
    made = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("make.Q8_0.from", values)
    writer.add_tensor("make.Q8_0", made, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main()
