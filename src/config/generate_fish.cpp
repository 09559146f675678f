// What fish loads: complete(1).
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "config/completion_values.h"
#include "config/generate.h"

namespace demask {
namespace {

constexpr std::string_view helpers = R"(# fish completion of demask, from demask --generate=fish

# True where the command line names one of these strategies, or none.
function __demask_strategy
    set -l named (commandline -opc | string replace -rf '^--strategy=' '')
    test -z "$named[-1]"; or contains -- $named[-1] $argv
end

# Names in the folder that a key of the command line names, or anywhere where an absolute path is begun.
function __demask_in
    set -l value (commandline -ct | string replace -r '^--[a-z_]+=' '')
    if string match -q '/*' -- $value
        __fish_complete_path $value
        return
    end
    set -l folder (commandline -opc | string replace -rf "^--$argv[1]=" '') $argv[2]
    command ls -- $folder[1] 2>/dev/null
end

complete -c demask -f -a '(__fish_complete_suffix .py; __fish_complete_suffix .json)' -d configuration
complete -c demask -s h -l help -d 'what there is'
complete -c demask -l version -d 'version and build'
complete -c demask -l doctor -d 'what this machine gives'
complete -c demask -l print_config -d 'the effective configuration'
)";

std::string fish_line(const Field& field) {
  std::string line = fmt::format("complete -c demask -l {}", field.name);
  if (field.taken_by) {
    line += fmt::format(" -n '__demask_strategy {}'", takers(field, " "));
  }
  switch (path_kind(field.name)) {
    case PathKind::file:
      line += " -r -F";
      break;
    case PathKind::folder:
      line += " -x -a '(__fish_complete_directories (commandline -ct | string replace -r \"^--[a-z_]+=\" \"\"))'";
      break;
    case PathKind::checkpoint:
      line += " -x -a '(__demask_in out_dir out)'";
      break;
    case PathKind::dataset:
      line += " -x -a '(__demask_in data_dir data)'";
      break;
    case PathKind::none:
      line += " -x";
      if (const std::string words = words_in_one(field); !words.empty()) {
        line += fmt::format(" -a '{}'", words);
      }
      break;
  }
  return line + fmt::format(" -d '{}'\n", escaped(field.help, {{'\'', "\\'"}, {'\\', "\\\\"}}));
}

}  // namespace

std::string generate_fish() {
  std::string text(helpers);
  text += fmt::format("complete -c demask -l generate -x -a '{}' -d 'man page or completions'\n", generated_names());
  for (const Field& field : fields()) {
    text += fish_line(field);
  }
  return text;
}

}  // namespace demask
