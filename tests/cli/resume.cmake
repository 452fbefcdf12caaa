if(Python3_FOUND)
  add_test(NAME test_resume COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/test_resume.py
           $<TARGET_FILE:vlorp> WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(test_resume PROPERTIES SKIP_RETURN_CODE 77)
endif()
