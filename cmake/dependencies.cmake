# Every library the project links, in one place; README lists what each is for.
find_package(PkgConfig REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS C)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
if(VLORP_BLAS)
  # The OpenMP build of OpenBLAS: it shares our threads instead of bringing a second pool.
  find_path(VLORP_CBLAS_INCLUDE cblas.h PATHS /usr/include/x86_64-linux-gnu/openblas-openmp
            /usr/include/aarch64-linux-gnu/openblas-openmp NO_DEFAULT_PATH)
  find_path(VLORP_CBLAS_INCLUDE cblas.h PATH_SUFFIXES openblas-openmp openblas)
  find_library(VLORP_CBLAS_LIBRARY openblas PATHS /usr/lib/x86_64-linux-gnu/openblas-openmp
               /usr/lib/aarch64-linux-gnu/openblas-openmp NO_DEFAULT_PATH)
  find_library(VLORP_CBLAS_LIBRARY openblas PATH_SUFFIXES openblas-openmp)
  if(NOT VLORP_CBLAS_INCLUDE OR NOT VLORP_CBLAS_LIBRARY)
    message(FATAL_ERROR "no OpenBLAS found: install libopenblas-openmp-dev or configure with -DVLORP_BLAS=OFF")
  endif()
endif()
if(BUILD_TESTING OR NOT DEFINED BUILD_TESTING)
  pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
endif()
