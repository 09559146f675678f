# The guide's creative writing: untempered draws from the nucleus, with the model's confidence as the judge.
#   demask configs/creative.py --seed=-1

temperature = 1.0
top_p = 0.9
intelligent_remasking = True
diffusion_iterations = 50
