# The whole program beside transformers, on SmolLM2 ($VLORP_TEST_SMOLLM2 names its GGUF file).
add_executable(dump_logits dump_logits.c)
target_link_libraries(dump_logits PRIVATE vlorp_model vlorp_options)
vlorp_test(test_factors_smollm2 vlorp_train)
vlorp_test(test_norm_smollm2 vlorp_train)
add_test(NAME check_smollm2 COMMAND ${VLORP_TEST_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/check_smollm2.py
         $<TARGET_FILE:vlorp> $<TARGET_FILE:dump_logits> WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
add_test(NAME check_training COMMAND ${VLORP_TEST_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/check_training.py
         $<TARGET_FILE:vlorp> WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
set_tests_properties(check_smollm2 check_training PROPERTIES SKIP_RETURN_CODE 77 LABELS "python;slow" TIMEOUT 900)
