# Tasks by likelihood beside transformers: all of them on a tiny model, a few on SmolLM2.
vlorp_register(check_tasks_tiny ${VLORP_TEST_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/check_tasks.py $<TARGET_FILE:vlorp>
               --model stories260K --limit 6)
set_tests_properties(check_tasks_tiny PROPERTIES LABELS python)
if(NOT VLORP_SANITIZE)
  vlorp_register(check_tasks_smollm2 ${VLORP_TEST_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/check_tasks.py $<TARGET_FILE:vlorp>
                 --tasks ARC-Easy --limit 20)
  set_tests_properties(check_tasks_smollm2 PROPERTIES LABELS "python;slow" TIMEOUT 900)
endif()
vlorp_register(check_generation_tiny ${VLORP_TEST_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/check_generation.py
               $<TARGET_FILE:vlorp> --model stories260K --limit 6 --max_new_tokens 24)
set_tests_properties(check_generation_tiny PROPERTIES LABELS python)
