"""Folders that are saved load in transformers, with every tensor equal to the bit.

Usage: check_folder.py SAVE_FOLDER SHARED_DATA
From the folder and from the GGUF file of stories260K, in every dtype, whole and in shards; and from both
forms of the tiny models of every family (GGUF written once more, too), whose logits must come out as they
are known to be.
Needs torch and transformers.  Exit 77: skipped.
"""
import glob
import json
import os
import subprocess
import sys
import tempfile

from script import skip

TEXT = "Once upon a time, Lily and Tom went to the park."


def check(expect, message):
    if not expect:
        sys.exit("FAILED: " + message)


def load(out, case):
    """The saved model; transformers must find every tensor and miss none."""
    from transformers import AutoModelForCausalLM
    model, info = AutoModelForCausalLM.from_pretrained(out, dtype="auto", output_loading_info=True)
    check(not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), f"{case}: {info}")
    return model


def check_family(save_folder, source, golden):
    """Logits of transformers on what is saved of source, against golden's golden.safetensors."""
    import torch
    from safetensors.torch import load_file
    with open(os.path.join(golden, "golden.json"), encoding="utf-8") as file:
        known = json.load(file)
    want = load_file(os.path.join(golden, "golden.safetensors"))["logits"]
    with tempfile.TemporaryDirectory() as scratch:
        out = os.path.join(scratch, "model")
        subprocess.run([save_folder, source, out, "float32", "0"], check=True)
        model = load(out, source)
        logits = []
        ids = iter(known["ids"])
        with torch.no_grad():
            for length in known["lengths"]:
                example = torch.tensor([[next(ids) for _ in range(length)]])
                logits.append(model(example).logits[0])
        error = ((torch.cat(logits) - want).norm() / want.norm()).item()
        check(error < 1e-5, f"{source}: logits are off by {error:.2g}")
        print(f"ok: {source}, logits within {error:.1g}")


def main():
    save_folder, data = sys.argv[1:3]
    folder = os.path.join(data, "models/stories260K-hf")
    gguf = os.path.join(data, "models/stories260K-gguf/stories260K.gguf")
    if not os.path.isdir(folder):
        skip(f"no {folder}")
    try:
        import torch
        from safetensors.torch import load_file
        from transformers import AutoTokenizer
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
                    model = load(out, case)
                    check(model.dtype == getattr(torch, dtype), f"{case}: loaded as {model.dtype}")
                    state = model.state_dict()
                    for name, tensor in want.items():
                        check(torch.equal(state[name], tensor.to(state[name].dtype)), f"{case}: {name} differs")
                    tokenizer = AutoTokenizer.from_pretrained(out)
                    check(tokenizer(TEXT).input_ids == ids, f"{case}: token ids differ")
                    print("ok:", case)
    tiny = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "tiny_*")
    for source in sorted(glob.glob(tiny)):
        golden = source.removesuffix(".gguf")
        check_family(save_folder, source, golden)
        if source != golden:
            with tempfile.TemporaryDirectory() as scratch:
                again = os.path.join(scratch, os.path.basename(source))
                subprocess.run([save_folder, source, again, "float32", "0"], check=True)
                check_family(save_folder, again, golden)


main()
