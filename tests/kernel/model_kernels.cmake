# The reference kernels over double, for tests alone.
set(ref64_sources rmsnorm_ref.c rope_ref.c swiglu_ref.c attention_ref.c xent_ref.c rows_ref.c)
list(TRANSFORM ref64_sources PREPEND ${PROJECT_SOURCE_DIR}/src/kernel/ref/)
add_library(vlorp_kernel_ref64 STATIC ${ref64_sources})
target_compile_definitions(vlorp_kernel_ref64 PRIVATE VLORPI_REF64=1)
target_include_directories(vlorp_kernel_ref64 PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(vlorp_kernel_ref64 PUBLIC vlorp_options)

# A window onto the vector exponentials, compiled per level like a kernel.
add_library(vlorp_exp_probe STATIC exp_probe.c)
target_include_directories(vlorp_exp_probe PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(vlorp_exp_probe PUBLIC vlorp_options)
vlorp_simd_sources(vlorp_exp_probe exp_probe_simd.c)

vlorp_test(check_convert vlorp_kernel)
vlorp_test(check_rmsnorm vlorp_kernel)
vlorp_test(check_rope vlorp_kernel)
vlorp_test(check_swiglu vlorp_kernel)
vlorp_test(check_attention vlorp_kernel)
vlorp_test(check_xent vlorp_kernel)
vlorp_test(check_rows vlorp_kernel)
vlorp_test(check_exp vlorp_exp_probe vlorp_kernel)

# Time of each operation: build/tests/bench_model_kernels [level]
add_executable(bench_model_kernels bench_model_kernels.c)
target_link_libraries(bench_model_kernels PRIVATE vlorp_kernel vlorp_options)
set_target_properties(bench_model_kernels PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
