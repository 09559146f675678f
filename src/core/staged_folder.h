// A folder that is written beside its place and takes its name once it is whole.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace demask {

class StagedFolder {
 public:
  // Makes an unfinished folder beside `path`, and the folders above it. `key` names the setting in messages.
  // Throws Error(bad_usage) where `path` is there already and not an empty folder, Error(failed) where it cannot be
  // made.
  StagedFolder(const std::string& key, const std::string& path);

  // Removes what is not published.
  ~StagedFolder();
  StagedFolder(const StagedFolder&) = delete;
  StagedFolder& operator=(const StagedFolder&) = delete;

  using Write = std::function<void(std::string_view bytes)>;

  // Makes a file: `fill` calls its argument with the bytes, in order and in as many calls as it likes.
  // Throws Error(failed) where the name is taken or the file cannot be written, and what `fill` throws.
  void write(const std::string& name, const std::function<void(const Write&)>& fill);

  // Gives the folder its name. Throws Error(failed), and Error(bad_usage) where something has that name by now.
  void publish();

 private:
  [[noreturn]] void refuse_existing() const;

  std::string key_;
  std::string path_;
  std::string staged_;                    // the unfinished folder; empty once it is published
  std::vector<std::string> temporaries_;  // registered, so that a signal removes them
};

}  // namespace demask
