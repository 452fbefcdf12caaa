"""Writes quants.gguf: for each storage type a tensor of random blocks, and beside it the values
that the gguf package reads from them.  Needs: pip install gguf numpy.

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
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main()
