vlorp_test(test_options vlorp_cli_options)

find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND)
  add_test(NAME test_program COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/test_program.py
           $<TARGET_FILE:vlorp> WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(test_program PROPERTIES SKIP_RETURN_CODE 77)
endif()
