#!/usr/bin/env python3
"""Compares which tokens are trained, token by token, with offsets of the Hugging Face tokenizers library.

usage: check_masks.py DUMP_MASKS [SHARED_DATA]

Alpaca, question-answer and chat data under llama2, llama3, qwen3 and gpt2, whole and cut.  The texts are put together
here from the documented templates, chat by transformers from the tokenizer's own template.  Exit status 1 when
anything differs, 77 without the Python packages tokenizers and transformers.
"""
import json
import os
import subprocess
import sys
import tempfile

try:
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer
except ImportError as error:
    print(f"SKIP: {error}; set VLORP_TEST_PYTHON to a Python that has it", file=sys.stderr)
    sys.exit(1 if os.environ.get("VLORP_REQUIRE_ALL") == "1" else 77)

from check_tokenizers import gpt2

HEAD = "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
HEAD_INPUT = ("Below is an instruction that describes a task, paired with an input that provides further context. "
              "Write a response that appropriately completes the request.\n\n")
LLAMA3_OPENING = "<|start_header_id|>assistant<|end_header_id|>\n\n"  # its template ends every text with it
QWEN3_MARKS = "<think>\n\n</think>\n\n"  # which the model has to write before its last answer
TURN_END = {"llama2": "</s>", "llama3": "<|eot_id|>", "qwen3": "<|im_end|>"}
CHATS = [
    [("user", "Hi <b>!"), ("assistant", "Hello."), ("user", "How many cats?"), ("assistant", "Two cats, and a dog.")],
    [("system", "You are kind."), ("user", "caf\u00e9 \u5317\u4eac"), ("assistant", "\u5317\u4eac is Beijing.")],
    [("user", "Say nothing twice"), ("assistant", "Nothing, nothing.")],
]


def alpaca(record):
    given = record.get("input") or ""
    prompt = (HEAD_INPUT if given else HEAD) + f"### Instruction:\n{record['instruction']}\n\n"
    prompt += f"### Input:\n{given}\n\n" if given else ""
    return prompt + "### Response:\n", record["output"]


def question(record):
    return f"Question: {record['question']}\nAnswer:", f" {record['answer']}"


def expected(tokenizer, text, spans, eos, prefix, max_length):
    """Codes of one example; eos None: none is added.  A token is trained when it shares a character with a span."""
    encoding = tokenizer.encode(text, add_special_tokens=False)
    codes = [~token for token in prefix]
    for token, (begin, end) in zip(encoding.ids, encoding.offsets):
        inside = any(begin < b and end > a for a, b in spans)
        codes.append(token if inside else ~token)
    if eos is not None:
        codes = codes[:-1] if codes and codes[-1] in (eos, ~eos) else codes
        codes.append(eos)
    whole = len(codes)
    codes = codes[:max_length]
    codes[0] = ~codes[0] if codes[0] >= 0 else codes[0]
    return (codes if any(code >= 0 for code in codes) else None), whole > max_length


def ours(dump, model, records, max_length):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "data.jsonl")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
        lines = subprocess.run([dump, model, path, str(max_length)], check=True, stdout=subprocess.PIPE,
                               text=True).stdout.splitlines()
    words = lines[0].split()
    return dict(zip(words[::2], map(int, words[1::2]))), [list(map(int, line.split())) for line in lines[1:]]


def compare(what, found, wanted):
    counts, codes = found
    kept = [example for example, _ in wanted if example is not None]
    n_cut = sum(cut for example, cut in wanted if example is not None)
    bad = sum(a != b for a, b in zip(codes, kept)) + abs(len(codes) - len(kept))
    bad += (counts["truncated"], counts["dropped"]) != (n_cut, len(wanted) - len(kept))
    for mine, theirs in zip(codes, kept):
        if mine != theirs:
            at = next((i for i, pair in enumerate(zip(mine, theirs)) if pair[0] != pair[1]), min(len(mine), len(theirs)))
            print(f"  {what}: token {at}: {mine[at:at + 6]} and {theirs[at:at + 6]}")
            break
    n_trained = sum(code >= 0 for example in codes for code in example)
    print(f"{what}: {len(wanted)} records, {sum(map(len, codes))} tokens, {n_trained} trained: {bad} differences")
    return bad


def chat_records(name, folder):
    """The messages, and their text with the spans of the assistant's turns."""
    template = AutoTokenizer.from_pretrained(folder)
    for chat in CHATS:
        messages = [{"role": role, "content": content} for role, content in chat]
        text = template.apply_chat_template(messages, tokenize=False).removesuffix(LLAMA3_OPENING)
        spans, at = [], 0
        for role, content in chat:
            begin = text.index(content, at)
            at = begin + len(content)
            if role == "assistant":
                end = text.index(TURN_END[name], at) + len(TURN_END[name])
                marks = text[:begin].endswith(QWEN3_MARKS)
                spans.append((begin - (len(QWEN3_MARKS) if marks else 0), end))
                at = end
        yield {"messages": messages}, text, spans


def main():
    dump = os.path.abspath(sys.argv[1])
    data = sys.argv[2] if len(sys.argv) > 2 else os.environ.get("VLORP_TEST_DATA", "../shared/data")
    with open(f"{data}/instruct/alpaca_en_demo.json", encoding="utf-8") as file:
        alpacas = json.load(file)[:60]
    with open(f"{data}/gsm8k/test.jsonl", encoding="utf-8") as file:
        questions = [json.loads(line) for line in file][:60]
    bad = 0
    for name in ("llama2", "llama3", "qwen3", "gpt2"):
        folder = f"{data}/tokenizers/{name}"
        tokenizer = gpt2(folder) if name == "gpt2" else Tokenizer.from_file(f"{folder}/tokenizer.json")
        prefix = tokenizer.encode("").ids
        tokenizer.post_processor = None  # ByteLevel's trims offsets
        eos = tokenizer.token_to_id({"llama2": "</s>", "llama3": "<|end_of_text|>", "qwen3": "<|im_end|>",
                                     "gpt2": "<|endoftext|>"}[name])
        for form, make, records in (("alpaca", alpaca, alpacas), ("question-answer", question, questions)):
            for max_length in (4096, 96):
                wanted = []
                for record in records:
                    prompt, answer = make(record)
                    wanted.append(expected(tokenizer, prompt + answer, [(len(prompt), len(prompt + answer))], eos, prefix,
                                           max_length))
                bad += compare(f"{name}, {form}, {max_length}", ours(dump, folder, records, max_length), wanted)
        if name in TURN_END:
            rows = list(chat_records(name, folder))
            for max_length in (4096, 24):
                wanted = [expected(tokenizer, text, spans, None, [], max_length) for _, text, spans in rows]
                bad += compare(f"{name}, chat, {max_length}", ours(dump, folder, [row[0] for row in rows], max_length),
                               wanted)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
