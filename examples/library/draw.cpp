// Draws samples as the demask program does, from the same settings, and prints their texts: draw [--key=value ...]
#include <demask/sampler.h>

#include <exception>
#include <iostream>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  try {
    demask::Sampler sampler(std::vector<std::string>(argv + 1, argv + argc));
    std::cerr << sampler.model() << " on " << sampler.device() << '\n';
    sampler.draw([](const demask::Sample& sample) {
      std::cout << "SAMPLE " << sample.identity.index << '\n' << sample.text << '\n';
    });
    return 0;
  } catch (const demask::Error& error) {
    std::cerr << "draw: " << error.what() << '\n';
    return static_cast<int>(error.code());
  }
}
