# What `cmake --install` puts where: the program, libvlorp shared and static, headers, a CMake package, a
# pkg-config file and the manual pages.  All of it is found relative to itself, so the prefix may be moved.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set_target_properties(vlorp_shared PROPERTIES EXPORT_NAME vlorp)
set_target_properties(vlorp_static PROPERTIES EXPORT_NAME static)
install(TARGETS vlorp RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
install(TARGETS vlorp_shared vlorp_static EXPORT vlorpTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/vlorp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library)
install(FILES ${PROJECT_SOURCE_DIR}/man/vlorp.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT program)
install(FILES ${PROJECT_SOURCE_DIR}/man/vlorp.3 DESTINATION ${CMAKE_INSTALL_MANDIR}/man3 COMPONENT library)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/vlorp)
install(EXPORT vlorpTargets NAMESPACE vlorp:: DESTINATION ${package_dir} COMPONENT library)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/vlorpConfig.cmake.in ${CMAKE_BINARY_DIR}/vlorpConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/vlorpConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/vlorpConfig.cmake ${CMAKE_BINARY_DIR}/vlorpConfigVersion.cmake
        DESTINATION ${package_dir} COMPONENT library)

set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH VLORP_PC_PREFIX /prefix/${pkgconfig_dir} /prefix)
configure_file(${PROJECT_SOURCE_DIR}/cmake/vlorp.pc.in ${CMAKE_BINARY_DIR}/vlorp.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/vlorp.pc DESTINATION ${pkgconfig_dir} COMPONENT library)
