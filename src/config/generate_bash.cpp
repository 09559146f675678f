// What bash sources: bash(1), Programmable Completion. It needs no package of completions.
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

constexpr std::string_view words_begin = R"(# bash completion of demask, from demask --generate=bash

_demask_words() {
  case $1 in
)";

constexpr std::string_view paths_begin = R"(  esac
}

# Names in a folder, or anywhere where an absolute path is begun.
_demask_in() {
  if [[ $value == /* || $value == '~'* ]]; then
    compgen "$2" -- "$value"
  else
    (cd -- "$1" 2>/dev/null && compgen "$2" -- "$value")
  fi
}

_demask_paths() {
  case $1 in
)";

constexpr std::string_view complete_begin = R"(  esac
}

_demask_value() {
  local words
  words=$(_demask_words "$key")
  if [[ -n $words ]]; then
    mapfile -t COMPREPLY < <(compgen -P "$prefix" -W "$words" -- "$value")
  else
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(_demask_paths "$key")
    [[ -z $prefix ]] || COMPREPLY=("${COMPREPLY[@]/#/$prefix}")
  fi
}

_demask() {
  local line=${COMP_LINE:0:COMP_POINT} words=() keys=() word cur key value prefix='' strategy='' out_dir=out data_dir=data
  read -ra words <<<"$line"
  [[ $line != *[[:space:]] ]] || words+=('')
  cur=${words[${#words[@]} - 1]}
  for word in "${words[@]}"; do
    case $word in
      --strategy=?*) strategy=${word#*=} ;;
      --out_dir=?*) out_dir=${word#*=} ;;
      --data_dir=?*) data_dir=${word#*=} ;;
    esac
  done
  COMPREPLY=()
  if [[ $cur == --*=* ]]; then
    key=${cur%%=*} key=${key#--} value=${cur#*=}
    # Where = does not part words for readline, what it replaces begins with the key.
    [[ $COMP_WORDBREAKS == *=* ]] || prefix=--$key=
    _demask_value
    return
  fi
  if [[ $cur != -* && ${#words[@]} -gt 2 ]]; then
    key=${words[${#words[@]} - 2]} value=$cur
    if [[ $key == --* && $key != *=* ]]; then
      key=${key#--}
      _demask_value
      [[ ${#COMPREPLY[@]} -eq 0 ]] || return
    fi
  fi
  if [[ $cur == -* ]]; then
    keys=()";

constexpr std::string_view complete_end =
    R"(    mapfile -t COMPREPLY < <(compgen -W "${keys[*]/%/=}" -- "${cur#--}" | sed 's/^/--/'
      compgen -W '--help --version --doctor --print_config' -- "$cur")
    [[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != *= ]] || compopt -o nospace 2>/dev/null
    return
  fi
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen -d -- "$cur"; compgen -f -X '!*.py' -- "$cur"; compgen -f -X '!*.json' -- "$cur")
}

complete -F _demask demask
)";

std::string bash_values() {
  std::string cases;
  for (const Field& field : fields()) {
    if (const std::string words = words_in_one(field); !words.empty()) {
      cases += fmt::format("    {}) echo '{}' ;;\n", field.name, words);
    }
  }
  return cases + fmt::format("    generate) echo '{}' ;;\n", generated_names());
}

std::string bash_paths() {
  std::map<PathKind, std::vector<std::string_view>> keys;
  for (const Field& field : fields()) {
    keys[path_kind(field.name)].push_back(field.name);
  }
  const auto line = [&](PathKind kind, std::string_view does) {
    return fmt::format("    {}) {} ;;\n", fmt::join(keys[kind], "|"), does);
  };
  return line(PathKind::file, "compgen -f -- \"$value\"") + line(PathKind::folder, "compgen -d -- \"$value\"") +
         line(PathKind::checkpoint, "_demask_in \"$out_dir\" -f") +
         line(PathKind::dataset, "_demask_in \"$data_dir\" -d");
}

std::string bash_strategy_keys() {
  std::string cases;
  for (const Field* field : keys_of_some_strategies()) {
    cases += fmt::format("  case $strategy in ''|{}) keys+=({}) ;; esac\n", takers(*field, "|"), field->name);
  }
  return cases;
}

}  // namespace

std::string generate_bash() {
  return fmt::format("{}{}{}{}{}{} generate)\n{}{}", words_begin, bash_values(), paths_begin, bash_paths(),
                     complete_begin, fmt::join(keys_of_all_strategies(), " "), bash_strategy_keys(), complete_end);
}

}  // namespace demask
