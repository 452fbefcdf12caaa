# What a user sees of data, memory and a run's files.
if(Python3_FOUND)
  foreach(test test_dry_run test_run_files test_rounding)
    add_test(NAME ${test} COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/${test}.py $<TARGET_FILE:vlorp>
             WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(${test} PROPERTIES SKIP_RETURN_CODE 77)
  endforeach()
endif()
