vlorp_test(check_gemm vlorp_kernel vlorp_blas vlorp_system)
vlorp_test(check_levels vlorp_kernel)
