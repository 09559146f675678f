// Keeping what is read, and what is written elsewhere, from being written over.
#pragma once

#include <string>
#include <vector>

namespace demask {

// True where writing to both paths would write to one file: a link to a file is the file. Files that are not there yet
// are the same where their names are. Devices and pipes, which lose nothing by being written, are never the same.
bool are_one_file(const std::string& left, const std::string& right);

// Throws Error(bad_usage) that names `key` where writing its file `path` would overwrite one of the files `read`.
void check_overwrites_none(const std::string& key, const std::string& path, const std::vector<std::string>& read);

}  // namespace demask
