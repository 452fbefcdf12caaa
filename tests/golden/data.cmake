# Compares the trained tokens with offsets of the Hugging Face library.
add_executable(dump_masks dump_masks.c)
target_link_libraries(dump_masks PRIVATE vlorp_data vlorp_options)
vlorp_register(check_masks ${VLORP_TEST_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/check_masks.py $<TARGET_FILE:dump_masks>)
