#include "config/model_paths.h"

#include <filesystem>

namespace demask {
namespace {

std::string in_folder(const std::string& folder, const std::string& name) {
  return (std::filesystem::path(folder) / name).string();  // an absolute name stands alone
}

}  // namespace

std::string checkpoint_path(const Config& config) {
  return in_folder(config.out_dir,
                   config.checkpoint_name.value_or(std::string(name_of(config.sampling_method)) + ".pt"));
}

std::string remasking_checkpoint_path(const Config& config) {
  return in_folder(config.out_dir, *config.diffusion.remasking_checkpoint_name);
}

}  // namespace demask
