vlorp_test(test_mem vlorp_system)
