# The guide's high-quality generation: more steps and a cooler temperature. Takes about twice as long as the default.
#   demask configs/high_quality.py --num_samples=1

diffusion_iterations = 100
temperature = 0.6
intelligent_remasking = True
