#include "engine/installed.h"

#include <system_error>

#include "core/notice.h"
#include "core/text.h"

namespace demask {

namespace fs = std::filesystem;

std::vector<fs::path> installed_data() {
  std::vector<fs::path> folders;
  std::error_code unknown;
  const fs::path program = fs::read_symlink("/proc/self/exe", unknown);
  if (!unknown) {
    folders.push_back(program.parent_path().parent_path() / "share" / "demask" / "data");
  }
  folders.emplace_back(DEMASK_INSTALLED_DATA);
  return folders;
}

void use_installed_models(ParsedConfig& parsed) {
  Config& config = parsed.config;
  std::error_code unknown;
  const bool names_one = config.checkpoint_name && fs::path(*config.checkpoint_name).is_absolute();
  if (parsed.is_given("out_dir") || names_one || fs::exists(config.out_dir, unknown)) {
    return;
  }
  for (const fs::path& data : installed_data()) {
    const fs::path models = data.parent_path() / "out";
    if (fs::is_directory(models, unknown)) {
      notice(
          "there is no folder '{}' here, so the models installed with demask are taken, in '{}'. Set --out_dir to "
          "read others.",
          config.out_dir, models.string());
      config.out_dir = models.string();
      return;
    }
  }
}

}  // namespace demask
