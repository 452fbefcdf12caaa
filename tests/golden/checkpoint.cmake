# What save.h writes, read by transformers.
add_executable(save_folder save_folder.c)
target_link_libraries(save_folder PRIVATE vlorp_checkpoint vlorp_options)
vlorp_register(check_folder ${VLORP_TEST_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/check_folder.py
               $<TARGET_FILE:save_folder> ../shared/data)
set_tests_properties(check_folder PROPERTIES LABELS python TIMEOUT 300)
