// Source of the form: man(7) and man-pages(7).
#include <fmt/format.h>

#include <string>
#include <string_view>

#include "config/apply.h"
#include "config/fields.h"
#include "config/generate.h"
#include "config/literal_source.h"
#include "config/usage.h"
#include "sampling/strategies/strategy.h"

namespace demask {
namespace {

// Text as roff shows it: dashes that can be copied, and no line that is taken for a request.
std::string roff(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '\\':
        escaped += "\\e";
        break;
      case '-':
        escaped += "\\-";
        break;
      case '\n':
        escaped += "\\en";  // within a default, a line end is shown as Python writes it
        break;
      default:
        escaped += c;
    }
  }
  const bool is_request = !escaped.empty() && (escaped[0] == '.' || escaped[0] == '\'');
  return (is_request ? "\\&" : "") + escaped;
}

std::string tagged(const std::string& tag, std::string_view text) {
  return fmt::format(".TP\n{}\n{}\n", tag, roff(text));
}

std::string bold(std::string_view text) {
  return "\\fB" + roff(text) + "\\fR";
}

std::string option(const Field& field, const Config& defaults) {
  const std::string value = to_source(value_of(field, defaults));
  std::string text = tagged(fmt::format("{}\\fI{}\\fR", bold(fmt::format("--{}=", field.name)), roff(value)),
                            field.help + (field.help.empty() || field.help.back() == '.' ? "" : "."));
  text += fmt::format("Takes {}.\n", roff(allowed_values(field)));
  if (!field.alias.empty()) {
    text += fmt::format("May be written {}.\n", bold(fmt::format("--{}", field.alias)));
  }
  if (!field.strategies.empty()) {
    text += fmt::format("For the strategies {}.\n", roff(field.strategies));
  }
  return text;
}

std::string options() {
  const Config defaults;
  std::string text;
  std::string_view group;
  for (const Field& field : fields()) {
    if (field.group != group) {
      group = field.group;
      text += fmt::format(".SS \"{}\"\n", roff(group));
    }
    text += option(field, defaults);
  }
  text += ".SS \"Other\"\n";
  for (const UsageLine& flag : other_flags()) {
    text += tagged(bold(flag.form), flag.meaning);
  }
  return text;
}

std::string strategies_section() {
  std::string text;
  for (const Strategy& strategy : strategies()) {
    text += tagged(bold(strategy.name), strategy.summary);
    for (const Parameter& parameter : strategy.parameters) {
      text += fmt::format(".br\n{}: {}\n", bold(fmt::format("--{}", parameter.name)), roff(parameter.help));
    }
  }
  return text;
}

}  // namespace

std::string generate_man() {
  std::string text = fmt::format(".TH DEMASK 1 \"\" \"demask {}\" \"User Commands\"\n", DEMASK_VERSION);
  text += R"(.SH NAME
demask \- sample text from masked-diffusion and autoregressive models
.SH SYNOPSIS
.B demask
[\fICONFIG\fR ...] [\fB\-\-key\fR=\fIvalue\fR ...]
.br
.B demask
\fB\-\-help\fR | \fB\-\-version\fR | \fB\-\-doctor\fR | \fB\-\-generate\fR=\fIWHAT\fR
.SH DESCRIPTION
.B demask
reads checkpoints of nanoGPT's family, TorchScript modules and model folders in the form of Hugging Face, and samples text from
them on the CPU or on CUDA devices.
Arguments act from left to right; later ones win.
.I CONFIG
is a .py file of \(dqkey = value\(dq lines or a .json object.
A value is a Python literal (True, None, 3, 1e\-3, [0.9, 0.5]), otherwise plain text.
.SH OPTIONS
Each key stands with its default.
)";
  text += options();
  text += ".SH STRATEGIES\nChosen with " + bold("--strategy") + ", each with the keys that are its own.\n";
  text += strategies_section();
  text += ".SH EXIT STATUS\n";
  for (const UsageLine& code : exit_codes()) {
    text += tagged(bold(code.form), code.meaning);
  }
  text += R"(.SH FILES
.TP
.I out
checkpoints, where \fB\-\-out_dir\fR names no other folder; where it is missing, the models installed with demask
.TP
.I data
vocabularies of datasets, where \fB\-\-data_dir\fR names no other folder
.SH EXAMPLES
)";
  for (const std::string_view example : usage_examples()) {
    text += fmt::format(".PP\n.nf\n{}\n.fi\n", roff(example));
  }
  return text;
}

}  // namespace demask
