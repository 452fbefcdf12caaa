# Compares tokenizers with the Hugging Face library: tests/golden/check_tokenizers.py dump_tokens.
add_executable(dump_tokens dump_tokens.c)
target_link_libraries(dump_tokens PRIVATE vlorp_text vlorp_options)
