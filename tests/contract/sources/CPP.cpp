#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

int main(int count, char **words) {
    const std::string mode = words[1];
    std::cout << "grün €" << std::endl;
    if (mode == "echo") {
        std::cout << std::string(std::istreambuf_iterator<char>(std::cin), {}) << '\n';
        for (int n = 2; n < count; n++) std::cout << words[n] << '\n';
    } else if (mode == "exit") {
        return 7;
    } else if (mode == "fail") {
        throw std::runtime_error("boom");
    } else if (mode == "loop") {
        for (volatile int n = 0;; n = n + 1);
    } else if (mode == "eat") {
        std::vector<std::string> eaten;
        for (;;) eaten.emplace_back(100000, 'x');
    } else if (mode == "flood") {
        std::cout << std::string(1048566, 'x');
    }
}
