// What a shell can offer for the value of a key.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "config/fields.h"

namespace demask {

// What a key's value names, as completions look for it.
enum class PathKind {
  none,
  file,
  folder,
  checkpoint,  // a file or folder in out_dir, or anywhere by an absolute path
  dataset      // a folder in data_dir
};

PathKind path_kind(std::string_view key);

// The words that a key takes, None among them where it does; empty where its values are numbers or free text.
std::vector<std::string> offered_words(const Field& field);

// The same with blanks between.
std::string words_in_one(const Field& field);

// The strategies that take a key of some strategies, by name.
std::string takers(const Field& field, std::string_view separator);

// A text in which characters are written otherwise.
std::string escaped(std::string_view text, const std::map<char, std::string_view>& by);

// Keys that every strategy takes or that are none of their business, and those that only some take, in the order of
// the table.
std::vector<std::string_view> keys_of_all_strategies();
std::vector<const Field*> keys_of_some_strategies();

}  // namespace demask
