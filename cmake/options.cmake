# Flags that every target of the project shares: the interface target vlorp_options.
add_library(vlorp_options INTERFACE)
target_compile_definitions(vlorp_options INTERFACE _POSIX_C_SOURCE=200809L _DEFAULT_SOURCE)
target_compile_options(vlorp_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla
  # a*b+c must round twice unless a kernel writes fma(): the reference and numpy do.
  -ffp-contract=off -fno-math-errno -fno-trapping-math)
if(VLORP_WERROR)
  target_compile_options(vlorp_options INTERFACE -Werror)
endif()
if(VLORP_SANITIZE)
  target_compile_options(vlorp_options INTERFACE -fsanitize=${VLORP_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(vlorp_options INTERFACE -fsanitize=${VLORP_SANITIZE})
endif()

# vlorp_folder_library(NAME SOURCES... ) adds the static library of one src/ folder.
function(vlorp_folder_library name)
  add_library(${name} STATIC ${ARGN})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${name} PUBLIC vlorp_options)
endfunction()

# vlorp_simd_sources(TARGET SOURCES...) compiles each source once per instruction set, with
# VLORPI_ISA set to the suffix of its symbols (avx2, avx512, neon); kernel/simd/vec.h maps it.
function(vlorp_simd_sources target)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    set(levels avx2 avx512)
    set(flags_avx2 -mavx2 -mfma -mf16c)
    set(flags_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c)
  elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    set(levels neon)
    set(flags_neon "")
  else()
    set(levels "")
  endif()
  foreach(level IN LISTS levels)
    add_library(${target}_${level} OBJECT ${ARGN})
    target_include_directories(${target}_${level} PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
    target_link_libraries(${target}_${level} PRIVATE vlorp_options)
    target_compile_definitions(${target}_${level} PRIVATE VLORPI_ISA=${level} VLORPI_ISA_${level}=1)
    target_compile_options(${target}_${level} PRIVATE -O3 ${flags_${level}})
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_${level}>)
    string(TOUPPER ${level} upper)
    target_compile_definitions(${target} PUBLIC VLORPI_HAVE_${upper}=1)
  endforeach()
endfunction()
