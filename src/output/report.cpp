#include "output/report.h"

#include <string_view>

#include "core/markup.h"
#include "output/report/page_source.h"
#include "output/trace.h"

namespace demask {
namespace {

// Inside a script element no `<` can end it or begin a comment.
std::string for_script(const std::string& json) {
  std::string text;
  text.reserve(json.size());
  for (const char c : json) {
    if (c == '<') {
      text += "\\u003c";
    } else {
      text += c;
    }
  }
  return text;
}

}  // namespace

std::string report_page(const std::vector<nlohmann::ordered_json>& traces) {
  std::string title = "demask", scripts;
  std::string_view separator = ": ";
  for (const nlohmann::ordered_json& trace : traces) {
    title += separator;
    title += escape_markup(trace["title"].get<std::string>());
    separator = " and ";
    scripts += "<script type=\"application/json\" class=\"trace\">" + for_script(to_text(trace)) + "</script>\n";
  }
  // One pass, so that nothing put in is taken for a place to put something.
  std::string page;
  std::string_view rest = report_html;
  for (size_t open = rest.find("{{"); open != std::string_view::npos; open = rest.find("{{")) {
    page += rest.substr(0, open);
    const size_t close = rest.find("}}", open);
    const std::string_view name = rest.substr(open + 2, close - open - 2);
    page += name == "title"    ? std::string_view(title)
            : name == "style"  ? report_style
            : name == "script" ? report_script
                               : std::string_view(scripts);
    rest.remove_prefix(close + 2);
  }
  page += rest;
  return page;
}

}  // namespace demask
