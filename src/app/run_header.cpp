#include "app/run_header.h"

#include "app/header_settings.h"
#include "checkpoint/checkpoint_files.h"
#include "core/sha256.h"
#include "engine/resolve.h"
#include "engine/scoring.h"
#include "model/device.h"

namespace demask {
namespace {

constexpr int format_version = 1;

}  // namespace

nlohmann::ordered_json run_header(const Context& context, const Work& work, const Shard& shard, const IndexRange& range,
                                  const std::string& checkpoint_sha256) {
  const Config& config = context.config;
  nlohmann::ordered_json header;
  header["demask"] = DEMASK_VERSION;
  header["format"] = format_version;
  header["method"] = method_name(context);
  header["checkpoint"] = context.checkpoint;
  header["checkpoint_sha256"] = checkpoint_sha256;
  if (config.diffusion.remasking_checkpoint_name) {
    const std::string path = remasking_checkpoint_path(config);
    header["remasking_checkpoint"] = path;
    header["remasking_checkpoint_sha256"] = checkpoint_digest(path);
  }
  header["vocabulary"] = context.vocabulary_path;
  header["vocabulary_sha256"] = sha256_of_files(context.vocabulary_files);
  if (config.prompts) {
    header["prompts"] = *config.prompts;
  }
  if (config.score) {
    header["score"] = *config.score;
  }
  header["device"] = context.device.is_cuda() ? "cuda" : "cpu";
  header["dtype"] = name_of(context.model->info().dtype);
  header["seed"] = config.seed;
  header["first"] = work.first();
  header["samples"] = work.samples();
  header["settings"] = settings_json(config);
  header["prompts_sha256"] = work.digest();  // after the settings, which name a changed start_text themselves
  if (shard.count > 1) {
    header["shard"] = {
        {"index", shard.index}, {"count", shard.count}, {"first", range.first}, {"samples", range.count}};
  }
  return header;
}

}  // namespace demask
