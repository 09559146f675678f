#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <exception>
#include <string>
#include <vector>

#include "app/run.h"
#include "core/error.h"
#include "core/notice.h"
#include "core/standard_streams.h"

int main(int argc, char** argv) {
  demask::settle_standard_streams();
  try {
    demask::run(std::vector<std::string>(argv + 1, argv + argc));
    return static_cast<int>(demask::ExitCode::done);
  } catch (const demask::Error& error) {
    demask::diagnostic(fmt::format("demask: {}\n", error.what()));
    return static_cast<int>(error.code());
  } catch (const c10::Error& error) {
    demask::diagnostic(fmt::format("demask: LibTorch failed: {}\n", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    demask::diagnostic(fmt::format("demask: failed: {}\n", error.what()));
  }
  return static_cast<int>(demask::ExitCode::failed);
}
