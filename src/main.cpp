#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "app/run.h"
#include "core/error.h"

int main(int argc, char** argv) {
  try {
    demask::run(std::vector<std::string>(argv + 1, argv + argc));
    return static_cast<int>(demask::ExitCode::done);
  } catch (const demask::Error& error) {
    fmt::print(stderr, "demask: {}\n", error.what());
    return static_cast<int>(error.code());
  } catch (const c10::Error& error) {
    fmt::print(stderr, "demask: LibTorch failed: {}\n", error.what_without_backtrace());
  } catch (const std::exception& error) {
    fmt::print(stderr, "demask: failed: {}\n", error.what());
  }
  return static_cast<int>(demask::ExitCode::failed);
}
