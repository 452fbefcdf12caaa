"""`vlorp eval --by generation` against transformers, question by question.

Usage: check_generation.py VLORP [--max_new_tokens N] and the options of check_tasks.py
transformers generates greedily after the logged prompts, with tokens of its own; what it writes must be the logged text up to
the stop text, but for ties: two texts may differ from a token on whose two likeliest are no further apart than
MAX_TIE_GAP.  The answers in the texts are found once more, by the regular expressions of LLM-Adapters' commonsense
evaluation and by others for MMLU's letter and GSM8K's number.  Exit 77: skipped.
"""
import decimal
import re
import sys
import time

from check_tasks import arguments, answers, check_all

LABELS = {"boolq": "true|false", "piqa": "solution1|solution2", "hellaswag": "ending1|ending2|ending3|ending4",
          "winogrande": "option1|option2"}
ANSWERS = "answer1|answer2|answer3|answer4|answer5"
STOPS = {"mmlu": None, "gsm8k": "Question:"}
RESPONSE = "### Response:"
MAX_TIE_GAP = 1e-3  # fp32 on both sides, sums in another order
NUMBER = r"((?<![A-Za-z0-9)])-)?\$*(\d{1,3}(?:,\d{3}(?!\d))+(?:\.\d+)?|\d+(?:\.\d+)?|(?<=[ \t\r\n$(=-])\.\d+)"


def numbers(text):
    return [decimal.Decimal(sign + digits.replace(",", "")) for sign, digits in re.findall(NUMBER, text)]


def number(text):
    for place in re.finditer("####", text):
        if re.match(r"[ \t$-]*\.?\d", text[place.end():]):
            return numbers(text[place.end():])[0]
    return (numbers(text) or [None])[-1]


def is_right(task, text, reference):
    if task == "gsm8k":
        return number(text) is not None and number(text) == number(reference)
    if task == "mmlu":
        first = re.search("[A-Za-z]", text)
        return first is not None and re.search(r"(?<![A-Za-z0-9])[A-D](?![A-Za-z0-9])", text) is not None and \
            re.search(r"(?<![A-Za-z0-9])[A-D](?![A-Za-z0-9])", text).start() == first.start() and first[0] == reference
    found = re.findall(LABELS.get(task, ANSWERS), text.strip())
    return found != [] and found[0] == reference.split()[-1]


def generate(model, torch, tokenizer, prompts, max_new_tokens, batch):
    """The ids that follow each prompt, padded on the left, prompts of like length together."""
    coded = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    order = sorted(range(len(coded)), key=lambda i: len(coded[i]))
    made = [None] * len(coded)
    end = model.generation_config.eos_token_id
    ends = end if isinstance(end, list) else [end]
    for at in range(0, len(order), batch):
        rows = order[at:at + batch]
        longest = max(len(coded[i]) for i in rows)
        ids = torch.tensor([[ends[0]] * (longest - len(coded[i])) + coded[i] for i in rows])
        mask = torch.tensor([[0] * (longest - len(coded[i])) + [1] * len(coded[i]) for i in rows])
        with torch.no_grad():
            out = model.generate(ids, attention_mask=mask, max_new_tokens=max_new_tokens, do_sample=False,
                                 repetition_penalty=1.0, pad_token_id=ends[0])
        for r, i in enumerate(rows):
            new = out[r, longest:].tolist()
            stop = next((k for k, token in enumerate(new) if token in ends), len(new))
            made[i] = new[:stop]
    return coded, made


def text_of(tokenizer, prompt, new, stop):
    text = tokenizer.decode(prompt + new, skip_special_tokens=True)
    text = text[len(tokenizer.decode(prompt, skip_special_tokens=True)):]
    return text if stop is None else text.split(stop)[0]


def check_tie(name, line, model, torch, tokenizer, prompt, new, stop):
    """Two texts differ: they may, from a tie on."""
    same = next((k for k in range(len(new))
                 if not line["text"].startswith(text_of(tokenizer, prompt, new[:k + 1], stop).rstrip("\ufffd"))), len(new))
    with torch.no_grad():
        top = model(torch.tensor([prompt + new[:same]])).logits[0, -1].topk(2).values
    gap = float(top[0] - top[1])
    if not gap < MAX_TIE_GAP:
        sys.exit(f"{name}, question {line['item']}: texts differ at token {same}, where the top two are {gap:.3g} apart\n"
                 f"vlorp        {line['text']!r}\ntransformers {text_of(tokenizer, prompt, new, stop)!r}")


def check(options, folder, model, tokenizer, torch, task, shots, scratch):
    limit = options.max_new_tokens or {"mmlu": 8, "gsm8k": 400}.get(task, 32)
    report, lines = answers(options, folder, task, shots, scratch, "--by", "generation", "--max_new_tokens", str(limit))
    begin = time.monotonic()
    prompts, made = generate(model, torch, tokenizer, [line["prompt"] for line in lines], limit, options.batch)
    theirs = time.monotonic() - begin
    name = task + (f", {shots} shots" if shots else "")
    stop = STOPS.get(task, RESPONSE)
    ties = 0
    for line, prompt, new in zip(lines, prompts, made):
        if line["text"] != text_of(tokenizer, prompt, new, stop):
            check_tie(name, line, model, torch, tokenizer, prompt, new, stop)
            ties += 1
        if line["correct"] != is_right(task, line["text"], line["reference"]):
            sys.exit(f"{name}, question {line['item']}: counted as {line['correct']}: {line['text']!r}")
    ours = report["seconds"]
    print(f"{name}: {len(lines)} questions, {sum(map(len, made))} new tokens, all texts equal, {ties} of them up to a tie; "
          f"{sum(line['correct'] for line in lines)} right, {sum(line['near_miss'] for line in lines)} nearly; "
          f"{ours:.1f} s, transformers {theirs:.1f} s, ratio {theirs / ours:.2f}", flush=True)


if __name__ == "__main__":
    PARSER = arguments(["boolq", "piqa", "ARC-Easy", "mmlu", "gsm8k"])
    PARSER.add_argument("--max_new_tokens", type=int, default=0)
    check_all(PARSER.parse_args(), check)
