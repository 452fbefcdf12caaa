vlorp_test(test_options vlorp_cli_options)

find_package(Python3 COMPONENTS Interpreter)
# Each runs the program as scripts do: TEST.py VLORP, in the repository's root.
if(Python3_FOUND)
  foreach(test test_program test_bench test_memory test_chat test_files)
    add_test(NAME ${test} COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/${test}.py $<TARGET_FILE:vlorp>
             WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(${test} PROPERTIES SKIP_RETURN_CODE 77)
  endforeach()
endif()
