vlorp_test(test_complete vlorp_eval)
vlorp_test(test_engine vlorp_eval)
vlorp_test(test_generate vlorp_eval)
vlorp_test(test_perplexity vlorp_eval)
