include(CMakePackageConfigHelpers)
install(TARGETS demask RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY configs/ DESTINATION ${CMAKE_INSTALL_DATADIR}/demask/configs)
install(DIRECTORY data/gpt2 DESTINATION ${CMAKE_INSTALL_DATADIR}/demask/data)  # for models that come without a vocabulary

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/demask)
# LibTorch need not lie where the system looks.
set_target_properties(demask demask_library PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
install(TARGETS demask_library EXPORT demaskTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library)
install(DIRECTORY include/demask DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library)
install(EXPORT demaskTargets NAMESPACE demask:: DESTINATION ${package_folder} COMPONENT library)
configure_package_config_file(cmake/demaskConfig.cmake.in ${CMAKE_BINARY_DIR}/demaskConfig.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/demaskConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/demaskConfig.cmake ${CMAKE_BINARY_DIR}/demaskConfigVersion.cmake DESTINATION ${package_folder} COMPONENT library)
