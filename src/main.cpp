#include <string>
#include <vector>

#include "app/failure.h"
#include "app/front.h"
#include "core/standard_streams.h"

int main(int argc, char** argv) {
  demask::settle_standard_streams();
  return demask::exit_code_of([&] { return demask::answer(std::vector<std::string>(argv + 1, argv + argc)); });
}
