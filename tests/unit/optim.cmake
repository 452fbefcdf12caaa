vlorp_test(test_optim_rng vlorp_optim)
vlorp_test(test_optim_projector vlorp_optim)
vlorp_test(test_optim_schedule vlorp_optim)
vlorp_test(test_optim_kernels vlorp_optim)
vlorp_test(test_optim_handle vlorp_optim vlorp_system)
vlorp_test(test_optim_embedding vlorp_optim vlorp_system)
vlorp_test(test_optim_misuse vlorp_optim vlorp_system)
vlorp_test(test_optim_state vlorp_optim vlorp_system)
vlorp_test(test_optim_probe vlorp_optim vlorp_system)
vlorp_test(test_optim_edges vlorp_optim vlorp_system)
vlorp_test(test_optim_coarse vlorp_optim vlorp_system)
vlorp_test(test_optim_lent vlorp_optim vlorp_system)
vlorp_test(test_optim_division vlorp_optim vlorp_system)
vlorp_test(test_optim_lomo vlorp_optim vlorp_system)

# Every byte read was written: what the sanitizers above do not see.
find_program(VLORP_VALGRIND valgrind)
if(VLORP_VALGRIND AND NOT VLORP_SANITIZE)
  foreach(name state probe embedding)
    vlorp_register(valgrind_optim_${name} ${VLORP_VALGRIND} -q --error-exitcode=9 --leak-check=full
                   $<TARGET_FILE:test_optim_${name}>)
  endforeach()
endif()

# The specification in numpy against the shared library.  A sanitizer's runtime would have to be
# loaded into Python, so those builds leave it out; the unit tests above run the same code there.
if(NOT VLORP_SANITIZE)
  foreach(check optimizer division statistics exact_rules baselines)
    add_test(NAME oracle_${check}
             COMMAND sh -c "exec \"\${VLORP_TEST_PYTHON:-python3}\" \"$@\"" oracle
                     ${PROJECT_SOURCE_DIR}/tests/oracle/check_${check}.py $<TARGET_FILE:vlorp_shared>)
    set_tests_properties(oracle_${check} PROPERTIES SKIP_RETURN_CODE 77 ENVIRONMENT PYTHONDONTWRITEBYTECODE=1)
  endforeach()
endif()
