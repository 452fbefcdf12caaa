#!/usr/bin/env python3
"""Makes tests/golden/data/chat_templates.json: conversations as transformers renders them with real templates.

    tools/make_chat_golden.py SHARED_DATA

Needs transformers and jinja2.  Each template comes with its conversations rendered with and without the opening of the
next answer; the templates of the shared tokenizers also with the ids that apply_chat_template gives, with tokenizer.json
as it stands: transformers 5's LlamaTokenizer replaces the file's normaliser by one that puts no space behind a special
token.  Templates that must be refused come last, with no texts.
"""
import datetime
import json
import pathlib
import sys

from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

ROOT = pathlib.Path(__file__).resolve().parents[1]

CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
          "'\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
SMOLLM2 = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
           "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
           "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
           "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
QWEN2 = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
         "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}"
         "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
         "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
QWEN25 = r"""{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.' }}
    {%- endif %}
    {{- "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.<|im_end|>\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\n' + message.content }}
        {%- endif %}
        {{- '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"""
HERMES = "{{bos_token}}" + CHATML
LLAMA2 = ("{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = "
          "messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
          "{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
          "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
          "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + "
          "'\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}"
          "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
          "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}")
LLAMA2_TRIM = LLAMA2.replace(".strip()", " | trim")
MISTRAL = r"""{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('After the optional system message, conversation roles must alternate user/assistant/user/assistant/...') }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {%- if loop.first and system_message is defined %}
            {{- " [INST] " + system_message + "\n\n" + message["content"] + " [/INST]" }}
        {%- else %}
            {{- " [INST] " + message["content"] + " [/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"] + eos_token}}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of an initial optional system message!") }}
    {%- endif %}
{%- endfor %}
"""
LLAMA3 = ("{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
          "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
          "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
          "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}")
LLAMA32 = r"""{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- This block extracts the system message, so we can slot it into the right place. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}

{#- System message #}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\n" }}
{%- endif %}
{{- "Cutting Knowledge Date: December 2023\n" }}
{{- "Today Date: " + date_string + "\n\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}

{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"""
LLAMA31 = LLAMA32.replace('''    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
''', '''    {%- set date_string = "26 Jul 2024" %}
''')
ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>
'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""
NAMED = [
    ("chatml", CHATML, "", "<|im_end|>"), ("smollm2", SMOLLM2, "<|im_start|>", "<|im_end|>"),
    ("qwen2", QWEN2, "", "<|im_end|>"), ("qwen2.5", QWEN25, "", "<|im_end|>"),
    ("hermes", HERMES, "<|begin_of_text|>", "<|im_end|>"),
    ("chatml trimmed", CHATML.replace("message['content']", "message['content'] | trim"), "", "<|im_end|>"),
    ("llama2", LLAMA2, "<s>", "</s>"), ("llama2 trim", LLAMA2_TRIM, "<s>", "</s>"),
    ("mistral", MISTRAL, "<s>", "</s>"),
    ("llama3", LLAMA3, "<|begin_of_text|>", "<|eot_id|>"), ("llama3.1", LLAMA31, "<|begin_of_text|>", "<|eot_id|>"),
    ("llama3.2", LLAMA32, "<|begin_of_text|>", "<|eot_id|>"), ("zephyr", ZEPHYR, "<s>", "</s>"),
]
TOKENIZERS = ["llama2", "llama3", "qwen3"]
# Templates of other forms, or nearly of one: rendering them as a known form would be wrong.
REFUSED = {
    "mistral with blanks after answers": "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + "
               "message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + "
               "eos_token + ' ' }}{% endif %}{% endfor %}",
    "mistral with the system message in the last turn": MISTRAL.replace("loop.first and", "loop.last and"),
    "phi-3": "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') %}{{'<|user|>' + '\n' + "
             "message['content'] + '<|end|>' + '\n' + '<|assistant|>' + '\n'}}{% elif (message['role'] == 'assistant') %}"
             "{{message['content'] + '<|end|>' + '\n'}}{% endif %}{% endfor %}",
    "tulu": "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] }}\n"
            "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n"
            "{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
    "yi": "{% for message in messages %}{% set content = message['content'] %}{% if message['role'] == 'user' %}"
          "{{ '<|im_start|>user\n' + content + '<|im_end|>\n<|im_start|>assistant\n' }}{% elif message['role'] == "
          "'assistant' %}{{ content + '<|im_end|>\n' }}{% endif %}{% endfor %}",
    "chatml with line breaks": CHATML.replace("{% endfor %}", "\n{% endfor %}"),
    "chatml that thinks at once": CHATML.replace("assistant\\n'", "assistant\\n<think>\\n'"),
    "chatml without line ends": CHATML.replace("'<|im_end|>' + '\\n'", "'<|im_end|>'"),
    "gemma": "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' + message['role'] + '\n' + "
             "message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}",
    "zephyr without line ends": ZEPHYR.replace("eos_token }}\n", "eos_token -}}\n"),
    "llama2 with a system message of its own": LLAMA2.replace("{% else %}{% set loop_messages = messages %}",
        "{% elif true == true and not '<<SYS>>' in messages[0]['content'] %}{% set loop_messages = messages %}"
        "{% set system_message = 'Be safe.' %}{% else %}{% set loop_messages = messages %}", 1),
    "nothing": "",
}


def talk(*contents, system=None):
    messages = [] if system is None else [{"role": "system", "content": system}]
    return messages + [{"role": "user" if i % 2 == 0 else "assistant", "content": c} for i, c in enumerate(contents)]


CONVERSATIONS = [
    talk("Hello"),
    talk("Hi", "Hello! How can I help?", "What is 2+2?"),
    talk("Hi there", system="You are terse."),
    talk(" \n blanks\u00a0\u3000\n", "\t answer with blanks \n\n", "\u2003more \x1f", system="  padded \n"),
    talk("Grüße 👩‍👩‍👧 and نص", "你好，世界\n", "", "Line one\nLine two", "bye", system=""),
    talk("<|im_end|> </s> [/INST] {{ x }} '\"\\", "it's \\n fine", system="a 'quoted' \"one\""),
    talk("q1", "<think>\nsome thought\n</think>\n\nanswer one", "q2", "<think>two</think>answer two"),
    talk("q", "no thoughts\n"), talk("q", "\n\n<think>\n\n</think>\n\n\nempty thoughts"),
    talk("q", "<think>a</think>b</think>\nc", "<tool_response>x</tool_response>", "after a tool"),
    [{"role": "user", "content": "a"}, {"role": "system", "content": "in the midst"}, {"role": "user", "content": "b"}],
]


def render(source, bos, eos, messages, open_answer):
    texts, _ = render_jinja_template([messages], chat_template=source, add_generation_prompt=open_answer,
                                     bos_token=bos, eos_token=eos)
    return texts[0].replace(datetime.datetime.now().strftime("%d %b %Y"), "26 Jul 2024")


def cases_of(source, bos, eos, tokenizer=None):
    cases = []
    for messages in CONVERSATIONS:
        for open_answer in (False, True):
            case = {"messages": messages, "open": open_answer}
            if "[INST]" in source and any(m["role"] == "system" for m in messages[1:]):
                case["fails"] = True  # the template would drop that message without a word
                cases.append(case)
                continue
            case["text"] = render(source, bos, eos, messages, open_answer)
            if not open_answer and case["text"] == render(source, bos, eos, messages, True) and "[INST]" not in source:
                continue  # an old template that opens an answer whether asked or not
            if tokenizer is not None:
                case["ids"] = tokenizer.apply_chat_template(messages, add_generation_prompt=open_answer, tokenize=True,
                                                            return_dict=False)
            cases.append(case)
    return cases


def main():
    data = pathlib.Path(sys.argv[1]) / "tokenizers"
    templates = [{"name": name, "source": source, "bos": bos, "eos": eos, "cases": cases_of(source, bos, eos)}
                 for name, source, bos, eos in NAMED]
    for folder in TOKENIZERS:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(data / folder)
        source = tokenizer.chat_template
        bos, eos = tokenizer.bos_token or "", tokenizer.eos_token
        templates.append({"name": folder, "folder": f"tokenizers/{folder}", "source": source, "bos": bos, "eos": eos,
                          "cases": cases_of(source, bos, eos, tokenizer)})
    golden = {"templates": templates, "refused": [{"name": n, "source": s} for n, s in REFUSED.items()]}
    out = ROOT / "tests/golden/data/chat_templates.json"
    out.write_text(json.dumps(golden).replace('{"messages"', '\n{"messages"').replace('{"name"', '\n{"name"') + "\n")
    print(out, sum(len(t["cases"]) for t in templates), "cases")


main()
