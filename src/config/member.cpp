#include "config/member.h"

namespace demask {

Member parameter_member(const Parameter& parameter) {
  Member made;
  made.can_be_none = !parameter.in_every_configuration;
  made.value = [&parameter](const Config& config) {
    const ParameterValues& values = config.diffusion.parameters;
    const ParameterValue* value = values.has(parameter.name)         ? &values.at(parameter.name)
                                  : parameter.in_every_configuration ? &parameter.value
                                                                     : nullptr;
    return value == nullptr ? Literal{} : std::visit([](const auto& one) { return Literal{one}; }, *value);
  };
  const auto assign_as = [&](const auto& usual) {
    using Value = std::decay_t<decltype(usual)>;
    made.type = member_detail::type_of<Value>;
    made.assign = [&parameter](const Literal& literal, const Rule& rule, Config& config) {
      ParameterValues& values = config.diffusion.parameters;
      if (literal == Literal{} && !parameter.in_every_configuration) {
        values.erase(parameter.name);
        return true;
      }
      Value candidate{};
      if (!member_detail::read(literal, candidate) || !member_detail::permits(rule, candidate)) {
        return false;
      }
      values.set(parameter.name, std::move(candidate));
      return true;
    };
  };
  std::visit(assign_as, parameter.value);
  return made;
}

}  // namespace demask
