"""Folders that are saved load in transformers, with every tensor equal to the bit.

Usage: check_folder.py SAVE_FOLDER SHARED_DATA
From the folder and from the GGUF file of stories260K, in every dtype, whole and in shards.
Needs torch and transformers.  Exit 77: skipped.
"""
import os
import subprocess
import sys
import tempfile

TEXT = "Once upon a time, Lily and Tom went to the park."


def skip(reason):
    print("SKIP:", reason)
    sys.exit(77)


def check(expect, message):
    if not expect:
        sys.exit("FAILED: " + message)


def main():
    save_folder, data = sys.argv[1:3]
    folder = os.path.join(data, "models/stories260K-hf")
    gguf = os.path.join(data, "models/stories260K-gguf/stories260K.gguf")
    if not os.path.isdir(folder):
        skip(f"no {folder}")
    try:
        import torch
        from safetensors.torch import load_file
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as missing:
        skip(str(missing))

    want = load_file(os.path.join(folder, "model.safetensors"))
    ids = AutoTokenizer.from_pretrained(folder)(TEXT).input_ids
    for source in (folder, gguf):
        for dtype in ("float32", "bfloat16", "float16"):
            for shard_bytes in ("0", "100000"):
                case = f"{os.path.basename(source)}, {dtype}, shards of {shard_bytes}"
                with tempfile.TemporaryDirectory() as scratch:
                    out = os.path.join(scratch, "model")
                    subprocess.run([save_folder, source, out, dtype, shard_bytes], check=True)
                    n_files = len([name for name in os.listdir(out) if name.endswith(".safetensors")])
                    check((n_files > 1) == (shard_bytes != "0"), f"{case}: {n_files} weight files")
                    model, info = AutoModelForCausalLM.from_pretrained(out, dtype="auto", output_loading_info=True)
                    check(not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")),
                          f"{case}: {info}")
                    check(model.dtype == getattr(torch, dtype), f"{case}: loaded as {model.dtype}")
                    state = model.state_dict()
                    for name, tensor in want.items():
                        check(torch.equal(state[name], tensor.to(state[name].dtype)), f"{case}: {name} differs")
                    tokenizer = AutoTokenizer.from_pretrained(out)
                    check(tokenizer(TEXT).input_ids == ids, f"{case}: token ids differ")
                    print("ok:", case)


main()
