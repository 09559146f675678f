#include "bench/program.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <exception>

#include "core/error.h"
#include "core/notice.h"

namespace demask::bench {

void add_common_flags(CLI::App& app, Options& options) {
  app.add_option("--device", options.device_name, "as demask's")->capture_default_str();
  app.add_option("--dtype", options.dtype_name, "as demask's")->capture_default_str();
  app.add_flag("--batch_invariant,!--no-batch_invariant", options.batch_invariant, "as demask's (on)");
  app.add_option("--out_dir", options.out_dir, "as demask's");
  app.add_option("--data_dir", options.data_dir, "as demask's");
  app.add_option("--hardware", options.hardware, "what the machine is, for the JSON");
}

ResultFile::ResultFile(const std::string& path) : path_(path) {
  if (path.empty()) {
    return;
  }
  file_.open(path);
  if (!file_) {
    fail(ExitCode::bad_usage, "cannot write '{}'. Name a file in a folder that is there.", path);
  }
}

void ResultFile::write(const std::string& text) {
  if (path_.empty()) {
    return;
  }
  file_ << text;
  file_.close();
  if (!file_) {
    fail(ExitCode::failed, "could not write all of '{}'.", path_);
  }
}

bool any_failed(const nlohmann::ordered_json& rows) {
  return std::any_of(rows.begin(), rows.end(), [](const auto& row) { return row.contains("failed"); });
}

int run_program(CLI::App& app, int argc, char** argv, const std::function<void()>& work) {
  try {
    app.parse(argc, argv);
    work();
    return static_cast<int>(ExitCode::done);
  } catch (const CLI::ParseError& error) {
    // Help is an exception too, with a code of 0.
    return static_cast<int>(app.exit(error) == 0 ? ExitCode::done : ExitCode::bad_usage);
  } catch (const Error& error) {
    diagnostic(fmt::format("{}: {}\n", app.get_name(), error.what()));
    return static_cast<int>(error.code());
  } catch (const c10::Error& error) {
    diagnostic(fmt::format("{}: LibTorch failed: {}\n", app.get_name(), error.what_without_backtrace()));
  } catch (const std::exception& error) {
    diagnostic(fmt::format("{}: failed: {}\n", app.get_name(), error.what()));
  }
  return static_cast<int>(ExitCode::failed);
}

}  // namespace demask::bench
