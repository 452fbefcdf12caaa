vlorp_test(test_train_plan vlorp_train)
vlorp_test(test_signs vlorp_train)
vlorp_test(test_train_steps vlorp_train)
vlorp_test(test_svd_probe vlorp_train)
