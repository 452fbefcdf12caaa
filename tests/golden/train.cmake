# The whole program beside transformers, on SmolLM2 ($VLORP_TEST_SMOLLM2 names its GGUF file).
add_executable(dump_logits dump_logits.c)
target_link_libraries(dump_logits PRIVATE vlorp_model vlorp_options)
# A sanitizer makes minutes of their seconds; the small models run the same code.
if(NOT VLORP_SANITIZE)
  vlorp_test(test_factors_smollm2 vlorp_train)
  vlorp_test(test_norm_smollm2 vlorp_train)
  vlorp_register(check_smollm2 ${VLORP_TEST_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/check_smollm2.py
                 $<TARGET_FILE:vlorp> $<TARGET_FILE:dump_logits>)
  vlorp_register(check_training ${VLORP_TEST_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/check_training.py $<TARGET_FILE:vlorp>)
  set_tests_properties(check_smollm2 check_training PROPERTIES LABELS "python;slow" TIMEOUT 900)
endif()
vlorp_register(check_lora ${VLORP_TEST_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/check_lora.py $<TARGET_FILE:vlorp>
               $<TARGET_FILE:dump_logits> $<TARGET_FILE:dump_masks>)
set_tests_properties(check_lora PROPERTIES LABELS python TIMEOUT 300)
