# What save.h writes, read by transformers.
add_executable(save_folder save_folder.c)
target_link_libraries(save_folder PRIVATE vlorp_checkpoint vlorp_options)
add_test(NAME check_folder COMMAND ${VLORP_TEST_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/check_folder.py
         $<TARGET_FILE:save_folder> ../shared/data WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(check_folder PROPERTIES SKIP_RETURN_CODE 77 LABELS python TIMEOUT 300)
