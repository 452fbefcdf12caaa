# What a user sees of data, memory and a run's files.
vlorp_program_tests(test_dry_run test_run_files test_rounding test_man)
