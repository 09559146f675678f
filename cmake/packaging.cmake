# What is installed, in two parts: `program`, which runs, and `dev`, against which others build. cpack -G DEB makes a
# package of each (demask and demask-dev), cpack -G TGZ one archive of both.
include(CMakePackageConfigHelpers)
set(shared ${CMAKE_INSTALL_DATADIR}/demask)
install(TARGETS demask RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
install(FILES README.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT program)
install(DIRECTORY configs/ DESTINATION ${shared}/configs COMPONENT program)
# The example models and the vocabularies: what demask takes where the working folder has none.
install(DIRECTORY out/ DESTINATION ${shared}/out COMPONENT program FILES_MATCHING PATTERN *.pt)
install(DIRECTORY data/ DESTINATION ${shared}/data COMPONENT program PATTERN LICENSE EXCLUDE)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/demask)
# LibTorch need not lie where the system looks.
set_target_properties(demask demask_library PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
install(TARGETS demask_library EXPORT demaskTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT program NAMELINK_COMPONENT dev)
install(DIRECTORY include/demask DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev)
install(EXPORT demaskTargets NAMESPACE demask:: DESTINATION ${package_folder} COMPONENT dev)
configure_package_config_file(cmake/demaskConfig.cmake.in ${CMAKE_BINARY_DIR}/demaskConfig.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/demaskConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/demaskConfig.cmake ${CMAKE_BINARY_DIR}/demaskConfigVersion.cmake DESTINATION ${package_folder} COMPONENT dev)

# The man page and the completions, written by the program itself.
set(generated ${CMAKE_BINARY_DIR}/share)
add_custom_command(OUTPUT ${generated}/demask.1.gz ${generated}/demask ${generated}/_demask ${generated}/demask.fish
  COMMAND ${CMAKE_COMMAND} -E make_directory ${generated}
  COMMAND demask --generate=man > ${generated}/demask.1
  COMMAND gzip -9nf ${generated}/demask.1
  COMMAND demask --generate=bash > ${generated}/demask
  COMMAND demask --generate=zsh > ${generated}/_demask
  COMMAND demask --generate=fish > ${generated}/demask.fish
  DEPENDS demask VERBATIM)
add_custom_target(demask_pages ALL DEPENDS ${generated}/demask.1.gz)
install(FILES ${generated}/demask.1.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT program)
install(FILES ${generated}/demask DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT program)
install(FILES ${generated}/_demask DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions COMPONENT program)
install(FILES ${generated}/demask.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d COMPONENT program)

# Debian asks each package for its licence and its changes.
set(DEMASK_PACKAGE_CONTACT "The demask authors <maintainers@demask.example.org>" CACHE STRING "Maintainer of the packages")
string(TIMESTAMP package_date "%a, %d %b %Y %H:%M:%S +0000" UTC)  # of SOURCE_DATE_EPOCH, where that is set
configure_file(cmake/changelog.Debian.in ${CMAKE_BINARY_DIR}/package/changelog.Debian @ONLY)
file(READ LICENSE licence)
file(READ data/gpt2/LICENSE gpt2_licence)
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/package/copyright CONTENT "${licence}\n\nThe vocabulary in data/gpt2:\n\n${gpt2_licence}" @ONLY)
execute_process(COMMAND gzip -9nfk ${CMAKE_BINARY_DIR}/package/changelog.Debian)
foreach(part program dev)
  set(documents ${CMAKE_INSTALL_DOCDIR})
  if(part STREQUAL dev)
    string(APPEND documents -dev)
  endif()
  install(FILES ${CMAKE_BINARY_DIR}/package/copyright ${CMAKE_BINARY_DIR}/package/changelog.Debian.gz
    DESTINATION ${documents} COMPONENT ${part})
endforeach()

set(CPACK_PACKAGE_NAME demask)
set(CPACK_PACKAGE_CONTACT "${DEMASK_PACKAGE_CONTACT}")
set(CPACK_PACKAGE_VENDOR "The demask authors")
set(CPACK_PACKAGE_FILE_NAME demask-${PROJECT_VERSION}-${CMAKE_SYSTEM_NAME}-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_COMPONENTS_ALL program dev)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME demask)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_RECOMMENDS libopenblas0-openmp)
set(CPACK_COMPONENT_PROGRAM_DESCRIPTION "Reads checkpoints of nanoGPT's family, TorchScript modules and model folders
in the form of Hugging Face, and samples text from them with the strategies
that the field has for masked diffusion, or from left to right.")
set(CPACK_DEBIAN_DEV_PACKAGE_NAME demask-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "demask (= ${PROJECT_VERSION}-1)")
set(CPACK_COMPONENT_DEV_DESCRIPTION "Headers and CMake package: programs in C++ draw the samples that demask draws.")
# Debian's LibTorch is a package that dpkg-shlibdeps finds; another one is for whoever builds to bring along.
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SHLIBDEPS OFF)
if(Torch_DIR MATCHES "^/usr/(lib|share)/")
  set(CPACK_DEBIAN_PROGRAM_PACKAGE_SHLIBDEPS ON)
endif()
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_CONTROL_EXTRA ${PROJECT_SOURCE_DIR}/cmake/triggers)
include(CPack)
