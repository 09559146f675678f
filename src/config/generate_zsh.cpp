// What zsh loads from its fpath: zshcompsys(1).
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

constexpr std::string_view begin = R"(#compdef demask
# zsh completion of demask, from demask --generate=zsh

# Names in the folder that a key of the command line names.
_demask_in() {
  local folder=${1%_dir} word
  for word in $words; do
    [[ $word != --$1=?* ]] || folder=${word#*=}
  done
  _files -W ${folder:a}
}

_demask() {
  local -a specs
  local strategy word
  for word in $words; do
    [[ $word != --strategy=?* ]] || strategy=${word#*=}
  done
)";

constexpr std::string_view end = R"zsh(  _arguments $specs '*:configuration:_files -g "*.(py|json)"'
}

if [[ $funcstack[1] == _demask ]]; then
  _demask "$@"
else
  compdef _demask demask
fi
)zsh";

std::string zsh_action(const Field& field) {
  switch (path_kind(field.name)) {
    case PathKind::file:
      return "_files";
    case PathKind::folder:
      return "_files -/";
    case PathKind::checkpoint:
      return " _demask_in out_dir";
    case PathKind::dataset:
      return " _demask_in data_dir";
    case PathKind::none:
      break;
  }
  const std::string words = words_in_one(field);
  return words.empty() ? " " : "(" + words + ")";
}

std::string zsh_spec(const Field& field) {
  const std::string help =
      escaped(field.help, {{'\'', "'\\''"}, {'[', "\\["}, {']', "\\]"}, {':', "\\:"}, {'\\', "\\\\"}});
  return fmt::format("'--{}=[{}]:{}:{}'", field.name, help, field.name, zsh_action(field));
}

std::string zsh_specs() {
  std::string specs = "  specs=(\n";
  for (const Field& field : fields()) {
    if (!field.taken_by) {
      specs += "    " + zsh_spec(field) + "\n";
    }
  }
  specs +=
      "    '(- *)'{-h,--help}'[what there is]'\n    '(- *)--version[version and build]'\n"
      "    '(- *)--doctor[what this machine gives]'\n    '--print_config[the effective configuration]'\n";
  specs += fmt::format("    '--generate=[man page or completions]:what:({})'\n  )\n", generated_names());
  for (const Field* field : keys_of_some_strategies()) {
    specs += fmt::format("  case $strategy in (''|{}) specs+=({}) ;; esac\n", takers(*field, "|"), zsh_spec(*field));
  }
  return specs;
}

}  // namespace

std::string generate_zsh() {
  return fmt::format("{}{}{}", begin, zsh_specs(), end);
}

}  // namespace demask
