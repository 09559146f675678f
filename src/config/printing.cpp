#include "config/printing.h"

#include <fmt/format.h>

#include <string_view>

#include "config/apply.h"
#include "config/fields.h"
#include "config/literal.h"
#include "config/literal_source.h"
#include "config/usage.h"

namespace demask {
namespace {

// So that a POSIX shell passes it on as it is.
std::string quote_for_shell(const std::string& text) {
  constexpr std::string_view plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+=:,./@%";
  if (!text.empty() && text.find_first_not_of(plain) == std::string::npos) {
    return text;
  }
  std::string quoted = "'";
  for (const char c : text) {
    quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return quoted + "'";
}

}  // namespace

std::string help_text() {
  std::string text = R"(Usage: demask [CONFIG ...] [--key=value ...]
       demask --help | --version | --doctor | --generate=WHAT
       demask --print_config [CONFIG ...] [--key=value ...]

Samples text from masked-diffusion and autoregressive character models.

Arguments act from left to right; later ones win. CONFIG is a .py file of `key = value` lines or a .json object.
A value is a Python literal (True, None, 3, 1e-3, "text\n", [0.9, 0.5]), otherwise plain text.

Examples:
)";
  for (const std::string_view example : usage_examples()) {
    text += fmt::format("  {}\n", example);
  }
  const Config defaults;
  std::string_view group;
  for (const Field& field : fields()) {
    if (field.group != group) {
      text += fmt::format("\n{}:\n", field.group);
      group = field.group;
    }
    const std::string key = fmt::format("--{}={}", field.name, to_source(value_of(field, defaults)));
    const std::string alias = field.alias.empty() ? "" : fmt::format(" (or --{})", field.alias);
    const std::string takers = field.strategies.empty() ? "" : fmt::format("; for {}", field.strategies);
    text += fmt::format("  {:<34}  {}{}\n{:38}{}{}\n", key, field.help, alias, "", allowed_values(field), takers);
  }
  text += "\nOther:\n";
  for (const UsageLine& flag : other_flags()) {
    text += fmt::format("  {:<34}  {}\n", flag.form, flag.meaning);
  }
  text += "\nExit codes:\n";
  for (const UsageLine& code : exit_codes()) {
    text += fmt::format("  {:<34}  {}\n", code.form, code.meaning);
  }
  return text;
}

std::string print_config(const Config& config) {
  std::string lines;
  std::string_view group;
  for (const Field& field : fields()) {
    if (field.group != group) {
      lines += fmt::format("{}# {}\n", lines.empty() ? "" : "\n", field.group);
      group = field.group;
    }
    lines += fmt::format("{} = {}\n", field.name, to_source(value_of(field, config)));
  }
  return lines;
}

std::string to_command(const ParsedConfig& parsed) {
  const Config defaults;
  std::string command = "demask";
  for (const Field& field : fields()) {
    const Literal value = value_of(field, parsed.config);
    // A default that was given may say more than one that was not: other keys' defaults follow from that.
    const bool goes_without_saying = value == value_of(field, defaults) && !parsed.is_given(field.name);
    if (goes_without_saying || !is_needed_for_the_samples(field.role)) {
      continue;
    }
    // Without Python's quotes where that reads back the same.
    const auto* text = std::get_if<std::string>(&value.value);
    const std::string source = text != nullptr && read_value(field, *text) == value ? *text : to_source(value);
    command += fmt::format(" --{}={}", field.name, quote_for_shell(source));
  }
  return command;
}

}  // namespace demask
