#include "core/json.h"

#include <nlohmann/json.hpp>

#include "core/text.h"

namespace demask {

std::string dump_json(const nlohmann::json& value, int indent) {
  return value.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string dump_json(const nlohmann::ordered_json& value, int indent) {
  return value.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string dump_json(const std::string& text) {
  return dump_json(nlohmann::json(text));
}

std::string_view json_error_reason(const char* what) {
  std::string_view reason = what;
  if (const size_t end = reason.find("] "); starts_with(reason, "[json.exception.") && end != std::string_view::npos) {
    reason.remove_prefix(end + 2);
  }
  return reason;
}

}  // namespace demask
