vlorp_test(test_answer_extract vlorp_eval)
vlorp_test(test_questions vlorp_eval)
vlorp_test(test_sample vlorp_eval)
vlorp_test(test_text_stream vlorp_eval)
